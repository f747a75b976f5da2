"""BibTeX of the papers that the objectives come from."""

KDMCSE_PAPER = """@inproceedings{nguyen2024kdmcse,
  title = {{KDMCSE}: Knowledge Distillation Multimodal Sentence Embeddings with Adaptive Angular margin Contrastive Learning},
  author = {Nguyen, Cong-Duy and Nguyen, Thong and Wu, Xiaobao and Luu, Anh Tuan},
  booktitle = {NAACL},
  year = {2024}
}"""  # noqa: E501
SIMCSE = """@inproceedings{gao2021simcse,
  title = {{SimCSE}: Simple Contrastive Learning of Sentence Embeddings},
  author = {Gao, Tianyu and Yao, Xingcheng and Chen, Danqi},
  booktitle = {EMNLP},
  year = {2021}
}"""
ARCCSE = """@inproceedings{zhang2022arccse,
  title = {A Contrastive Framework for Learning Sentence Representations from Pairwise and Triple-wise Perspective in Angular Space},
  author = {Zhang, Yuhao and Zhu, Hongji and Wang, Yongliang and Xu, Nan and Li, Xiaobo and Zhao, Binqiang},
  booktitle = {ACL},
  year = {2022}
}"""  # noqa: E501
MCSE_PAPER = """@inproceedings{zhang2022mcse,
  title = {{MCSE}: Multimodal Contrastive Learning of Sentence Embeddings},
  author = {Zhang, Miaoran and Mosbach, Marius and Adelani, David Ifeoluwa and Hedderich, Michael A. and Klakow, Dietrich},
  booktitle = {NAACL},
  year = {2022}
}"""  # noqa: E501
RANKCSE = """@inproceedings{liu2023rankcse,
  title = {{RankCSE}: Unsupervised Sentence Representations Learning via Learning to Rank},
  author = {Liu, Jiduan and Liu, Jiahao and Wang, Qifan and Wang, Jingang and Cai, Xunliang and Zhao, Dongyan and Wang, Ran Lucien and Yan, Rui},
  booktitle = {ACL},
  year = {2023}
}"""  # noqa: E501
